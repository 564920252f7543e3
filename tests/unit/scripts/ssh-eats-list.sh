#!/bin/bash
set -euo pipefail
while read -r host; do
  ssh "$host" tar -C /data -cf - run-7 >"$host.tar"
done <hosts.txt
# verdict ssh SC2095
