#!/bin/bash
#DTP time=12h retries=3 resume=yes
set -euo pipefail
export RSYNC_RSH="ssh -i $DTP_SECRETS/id_ed25519 -o UserKnownHostsFile=$DTP_SECRETS/known_hosts"
remote=/data/incoming
rsync -a --partial --exclude='/.dtp' /workspace/dtp-jobs/dtp-aws/run-7/ "lab@data.example.org:$remote/"
# verdict ssh -
