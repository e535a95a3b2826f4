package parameter

import (
	"fmt"

	"github.com/distribution/reference"
)

// Image is a parameter: the reference of an image, such as registry.example.com/shop:1.5.0. Empty is one that was not
// given.
type Image string

// EnvDecode reads a reference with or without a registry, a tag or a digest; an empty text leaves it as it is.
func (i *Image) EnvDecode(text string) error {
	if text == "" {
		return nil
	}
	if _, err := reference.ParseNormalizedNamed(text); err != nil {
		return fmt.Errorf("%q, want an image such as registry.example.com/shop:1.5.0", text)
	}
	*i = Image(text)
	return nil
}
