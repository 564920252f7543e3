#!/bin/bash
set -euo pipefail
collection=/tempZone/home/ada/run-7
gocmd get --verify_checksum "$collection" .
# verdict irods -
