#!/bin/bash
prefetch SRR000001 | tee prefetch.txt
fasterq-dump SRR000001
echo "all done"
# verdict sra-tools pipe last-line
