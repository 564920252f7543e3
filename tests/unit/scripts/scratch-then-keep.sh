#!/bin/bash
set -euo pipefail
cd "$TMPDIR"
aws s3 cp s3://lab/run-7.tar .
tar xf run-7.tar -C "$DTP_DIRECTORY"
# verdict aws -
