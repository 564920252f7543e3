#!/bin/bash
set -euo pipefail
# from /data/lab, with sudo and $1
curl -fsS 'https://data.example.org/api?path=/data/lab' | awk -F/ '/data/ {print $1, $2}' >names.txt
echo "module load $PWD; cd /data" >notes.txt
# verdict http -
