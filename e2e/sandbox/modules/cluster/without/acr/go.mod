module github.com/gaganhr94/docker-credential-acr

go 1.26.0
