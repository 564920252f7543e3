#!/bin/bash
curl -L https://data.example.org/db.tar.gz | tar xz
# verdict http pipe
