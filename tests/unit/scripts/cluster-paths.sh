#!/bin/bash
set -euo pipefail
SRC=/gpfs/projects/lab/run-7
DST=lab:archive/run-7
/sw/bin/rclone copy "$SRC" "$DST" --log-file=/home/ada/rclone.log
# verdict rclone path
