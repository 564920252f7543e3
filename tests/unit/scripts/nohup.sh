#!/bin/bash
set -e
nohup rclone copy --transfers 8 lab:run-7 run-7 > rclone.log 2>&1 &
echo "pid $!"
# verdict rclone background
