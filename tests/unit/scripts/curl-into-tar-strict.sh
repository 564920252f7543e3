#!/bin/bash -euo pipefail
curl -fL https://data.example.org/db.tar.gz | tar xz
echo "unpacked"
# verdict http -
