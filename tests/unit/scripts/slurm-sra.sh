#!/bin/bash
#SBATCH --job-name=sra
#SBATCH --time=2-00:00:00
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
module purge
module load sratoolkit/3.0
cd /scratch/lab/sra
for run in SRR000001 SRR000002; do
  prefetch $run
  fasterq-dump -e $SLURM_CPUS_PER_TASK $run
done
echo "finished $(date)"
# verdict sra-tools batch-header environment path batch-variable last-line SC2164
