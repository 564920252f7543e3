#!/bin/bash
#$ -cwd
#$ -l h_rt=10:00:00,h_vmem=2G
source ~/miniconda3/bin/activate download
while read url; do
  wget -c "$url"
done < urls.txt
# verdict http batch-header environment
