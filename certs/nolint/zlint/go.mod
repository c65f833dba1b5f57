// What cfssl needs of zlint in order to compile: see zlint.go.
module github.com/zmap/zlint/v3

go 1.26.0

require github.com/zmap/zcrypto v0.0.0-20230310154051-c8b263fd8300
