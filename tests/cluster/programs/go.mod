module dtp-requests/tests/cluster/programs

go 1.24.0
