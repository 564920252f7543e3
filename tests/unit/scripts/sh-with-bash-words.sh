#!/bin/sh
set -eu
for i in {1..22}; do
  curl -fsSO "https://data.example.org/chr$i.fa.gz"
done
if [[ ! -e chr1.fa.gz ]]; then exit 1; fi
# verdict http SC3009
