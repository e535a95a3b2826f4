module tkn

go 1.26.5

require github.com/tektoncd/cli v0.46.0

require github.com/mitchellh/go-homedir v1.1.0 // indirect
