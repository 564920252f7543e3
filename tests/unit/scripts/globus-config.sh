#!/bin/bash
set -euo pipefail
mkdir -p ~/.aws
printf '[default]\nregion = eu-west-1\n' >~/.aws/config
aws s3 cp s3://lab/a.fa .
# verdict aws -
