// What cfssl needs of zcrypto in order to compile: see ../zlint/zlint.go.
module github.com/zmap/zcrypto

go 1.26.0
