#!/bin/bash
set -euo pipefail
aws s3 cp s3://lab/a.fa . \
  --only-show-errors

  --no-progress
# verdict aws SC2215
