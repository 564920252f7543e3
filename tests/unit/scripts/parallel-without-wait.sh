#!/bin/bash
set -euo pipefail
for i in $(seq 1 22); do
  curl -fsSO "https://data.example.org/chr$i.vcf.gz" &
done
# verdict http background
