package environment

func readHelmfile(*reader) (*contents, error)  { return nil, nil }
func readChart(*reader) (*contents, error)     { return nil, nil }
func readArgo(*reader) (*contents, error)      { return nil, nil }
func readFlux(*reader) (*contents, error)      { return nil, nil }
func readKustomize(*reader) (*contents, error) { return nil, nil }
