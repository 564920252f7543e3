#!/bin/bash
set -euo pipefail
OUTDIR="$HOME/genomes"
mkdir -p "$OUTDIR"
aws s3 sync --no-sign-request s3://genomes/hg38 "$OUTDIR"
ls -lh "$OUTDIR"
# verdict aws lost
