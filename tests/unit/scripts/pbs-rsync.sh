#!/bin/sh
#PBS -N pull
#PBS -l walltime=24:00:00,mem=4gb
#PBS -j oe
cd $PBS_O_WORKDIR
rsync -avP lab@data.example.org:/data/run-7/ ./run-7/
# verdict ssh batch-header batch-variable SC2164
