#!/bin/bash
set -euo pipefail
sftp -b - lab@data.example.org <<END
lcd .
get /data/lab/$USER/genome.fa.gz
END
sha256sum -c <<'END'
0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  genome.fa.gz
END
# verdict ssh -
