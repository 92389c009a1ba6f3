package imagebuild

import (
	"encoding/json"
	"testing"
)

// FuzzDevcontainer checks that strict JSON means the same with comments permitted, and that the result is always
// the name of an image.
func FuzzDevcontainer(f *testing.F) {
	for _, text := range []string{
		`{"image": "node:22"}`, `{"image": "a//b", /* c */ "build": {},}`, "{\"image\": \"x\" // \"\n,}", `{"image": "\"/*"}`, `/*`, `"\`, `{"image":"-v"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		image, err := devcontainerImage(text)
		if err == nil && !reference().MatchString(image) {
			t.Errorf("%q: the image %q", text, image)
		}
		var strict struct {
			Image *string `json:"image"`
		}
		if json.Unmarshal(text, &strict) != nil || strict.Image == nil {
			return
		}
		if err == nil && image != *strict.Image {
			t.Errorf("%q: %q, want %q", text, image, *strict.Image)
		}
		if err != nil && reference().MatchString(*strict.Image) {
			t.Errorf("%q: %v, want %q", text, err, *strict.Image)
		}
	})
}
