#!/bin/bash
#SBATCH --array=1-22
#SBATCH -t 12:00:00
set -euo pipefail
aws s3 cp --no-sign-request "s3://1000genomes/chr${SLURM_ARRAY_TASK_ID}.vcf.gz" .
# verdict aws batch-header batch-array batch-variable
