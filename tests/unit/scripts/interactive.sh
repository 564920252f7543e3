#!/bin/bash
read -p "Bucket? " bucket
aws s3 sync "s3://$bucket" .
# verdict aws input
