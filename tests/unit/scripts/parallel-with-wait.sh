#!/bin/bash
set -euo pipefail
pids=()
for i in $(seq 1 22); do
  curl -fsSO "https://data.example.org/chr$i.vcf.gz" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
# verdict http -
