#!/bin/bash
set -uo pipefail
for try in 1 2 3; do
  if aws s3 sync s3://lab/run-7 run-7; then
    echo "arrived at try $try"
    exit 0
  fi
  sleep 60
done
exit 1
# verdict aws -
