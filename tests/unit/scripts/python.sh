#!/usr/bin/env python3
import subprocess, sys
subprocess.run(["aws", "s3", "cp", sys.argv[1], "/data/lab"], check=True)
# verdict aws shebang
