#!/bin/bash
set -eo pipefail
old=$(cat old.txt)
rm -rf "$old/"*
aws s3 sync s3://lab/run-7 run-7
# verdict aws SC2115
