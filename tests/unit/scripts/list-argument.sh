#!/bin/bash
# usage: get.sh list.txt outdir
LIST=$1
OUT=$2
mkdir -p $OUT
cat $LIST | while read acc; do
  prefetch -O $OUT $acc
done
# verdict sra-tools arguments
