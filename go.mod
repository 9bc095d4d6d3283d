module github.com/stelemq/stele

go 1.26

require golang.org/x/sys v0.34.0
