package imagebuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"golang.org/x/sys/unix"
)

// maxDevcontainer limits the size of a devcontainer.json, which the guest may have written.
const maxDevcontainer = 1 << 20

// Devcontainer returns the image that the devcontainer.json of a project names. Nothing else of
// the file is used: what is in the project, the guest can write.
func Devcontainer(dir string) (string, error) {
	for _, name := range []string{".devcontainer/devcontainer.json", ".devcontainer.json"} {
		file := filepath.Join(dir, name)
		text, err := readSmall(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		image := ""
		if err == nil {
			image, err = devcontainerImage(text)
		}
		if err != nil {
			return "", failure.New(failure.Failed, failure.HintOf(err), "%s: %w", file, failure.Plain(err))
		}
		return image, nil
	}
	return "", failure.New(failure.Failed, "claude-vm-ctl guest build --from IMAGE", "%s has no .devcontainer/devcontainer.json", dir)
}

// readSmall reads a regular file, but no link, which could point to anything on the host.
func readSmall(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.New("a symbolic link")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxDevcontainer {
		return nil, errors.New("not a file of at most 1 MiB")
	}
	return io.ReadAll(io.LimitReader(f, maxDevcontainer))
}

func devcontainerImage(text []byte) (string, error) {
	var config struct {
		Image             *string         `json:"image"`
		Build             json.RawMessage `json:"build"`
		DockerFile        json.RawMessage `json:"dockerFile"`
		DockerComposeFile json.RawMessage `json:"dockerComposeFile"`
	}
	if err := json.Unmarshal(withoutComments(text), &config); err != nil {
		return "", fmt.Errorf("invalid JSON: %w", err)
	}
	switch {
	case config.Image == nil && (config.Build != nil || config.DockerFile != nil || config.DockerComposeFile != nil):
		return "", failure.New(failure.Failed, "podman build -t NAME .devcontainer && claude-vm-ctl guest build --from containers-storage:localhost/NAME",
			"names no image, but a Dockerfile, which is not built")
	case config.Image == nil:
		return "", errors.New("names no image")
	case !reference().MatchString(*config.Image):
		return "", fmt.Errorf("%q is not the name of an image", *config.Image)
	}
	return *config.Image, nil
}

// withoutComments returns JSON without comments and without commas before closing brackets, as
// devcontainer.json may have them.
func withoutComments(text []byte) []byte {
	var out []byte
	comma := -1 // the index in out of a comma that only spaces follow
	for i := 0; i < len(text); i++ {
		rest := string(text[i:min(i+2, len(text))])
		switch {
		case rest == "//":
			for i < len(text) && text[i] != '\n' {
				i++
			}
			out = append(out, '\n')
			continue
		case rest == "/*":
			for i += 2; i < len(text) && string(text[i:min(i+2, len(text))]) != "*/"; i++ {
			}
			i++
			out = append(out, ' ')
			continue
		case text[i] == '"':
			end := i + 1
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			out, comma = append(out, text[i:min(end+1, len(text))]...), -1
			i = end
			continue
		case text[i] == ',':
			comma = len(out)
		case (text[i] == '}' || text[i] == ']') && comma >= 0:
			out[comma] = ' '
		case text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n':
			out = append(out, text[i])
			continue
		}
		if text[i] != ',' {
			comma = -1
		}
		out = append(out, text[i])
	}
	return out
}
