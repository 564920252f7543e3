#!/bin/bash
set -euo pipefail
rclone copy lab:run-7 run-7
# verdict aws folder
