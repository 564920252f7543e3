#!/bin/bash
sudo apt-get update && sudo apt-get install -y aria2
pip install --upgrade awscli
aria2c -x 8 https://data.example.org/genome.fa.gz
# verdict http root install
