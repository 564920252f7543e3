#!/bin/bash
set -euo pipefail
iinit
iget -rK /tempZone/home/ada/run-7 .
# verdict irods folder
