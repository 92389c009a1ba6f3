package imagebuild

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"golang.org/x/sys/unix"
)

// source is an image in a directory.
type source struct {
	layers       []string // files, tar archives, the lowest first
	digest       string
	architecture string
	environment  []string
}

// transports are those of skopeo that can be written before an image, as in docker://debian.
var transports = []string{"docker://", "oci:", "oci-archive:", "docker-archive:", "docker-daemon:", "containers-storage:", "dir:"}

// reference is an image of a registry, for example debian:13 or registry.example.org/a/b@sha256:….
// To compile it takes 4 ms without hardware support for paging, which units should not need.
var reference = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([A-Za-z0-9._-]*)(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
})

// Reference returns what --from means as an argument of skopeo: an image with a transport, a
// directory with the OCI layout, an archive, or else the name of an image in a registry.
func Reference(from string) (string, error) {
	if strings.IndexFunc(from, unicode.IsControl) >= 0 || !utf8.ValidString(from) {
		return "", fmt.Errorf("%q is not the name of an image", from)
	}
	for _, t := range transports {
		if strings.HasPrefix(from, t) {
			return from, nil
		}
	}
	info, err := os.Stat(from)
	switch {
	case err == nil && strings.Contains(from, ":"): // skopeo would split it
		return "", fmt.Errorf("%s: the path of an image cannot have a colon", from)
	case err == nil && info.IsDir():
		return "oci:" + from, nil
	case err == nil:
		kind, err := archiveKind(from)
		return kind + ":" + from, err
	case reference().MatchString(from):
		return "docker://" + from, nil
	}
	return "", fmt.Errorf("%q is neither the name of an image nor a file or directory", from)
}

// archiveKind returns the transport for an archive.
func archiveKind(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", failure.Plain(err)
	}
	defer f.Close()
	r, err := decompress(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err != nil {
			return "", fmt.Errorf("%s is not an archive of an image, which oci-layout or manifest.json shows", file)
		}
		switch path.Clean(h.Name) {
		case "oci-layout":
			return "oci-archive", nil
		case "manifest.json":
			return "docker-archive", nil
		}
	}
}

// decompress reads what may be compressed with gzip.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	if magic, _ := b.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return gzip.NewReader(b)
	}
	return b, nil
}

// fetch copies an image with skopeo, which checks the digests, to a directory that does not
// exist. Temporary files are in tmp.
func fetch(ctx context.Context, skopeo, reference, tmp, dir string) (*source, error) {
	args := []string{"copy", "--quiet", "--remove-signatures", "--dest-decompress", "--override-os", "linux", "--override-arch", runtime.GOARCH}
	if !hasPolicy() {
		args = append([]string{"--insecure-policy"}, args...)
	}
	if err := runTool(ctx, tmp, nil, skopeo, append(args, "--", reference, "dir:"+dir)...); err != nil {
		return nil, err
	}
	return readSource(dir)
}

// hasPolicy reports whether there is a policy.json(5), without which skopeo copies nothing.
// Packages of skopeo install one that accepts everything.
func hasPolicy() bool {
	config := os.Getenv("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(os.Getenv("HOME"), ".config")
	}
	for _, dir := range []string{config, "/etc"} {
		if _, err := os.Stat(filepath.Join(dir, "containers/policy.json")); err == nil {
			return true
		}
	}
	return false
}

var (
	digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// skopeoMessage is the message in a line of skopeo's log.
	skopeoMessage = regexp.MustCompile(`msg=("(?:[^"\\]|\\.)*")`)
)

// readSource reads an image as skopeo writes it with the transport dir:.
func readSource(dir string) (*source, error) {
	type descriptor struct {
		Digest string `json:"digest"`
	}
	var manifest struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := readJSON(filepath.Join(dir, "manifest.json"), &manifest); err != nil {
		return nil, fmt.Errorf("the manifest of the image: %w", err)
	}
	blob := func(d descriptor) (string, error) {
		if !digest.MatchString(d.Digest) {
			return "", fmt.Errorf("the manifest of the image has an invalid digest: %q", d.Digest)
		}
		return filepath.Join(dir, strings.TrimPrefix(d.Digest, "sha256:")), nil
	}
	var s source
	for _, layer := range manifest.Layers {
		file, err := blob(layer)
		if err != nil {
			return nil, err
		}
		s.layers = append(s.layers, file)
	}
	file, err := blob(manifest.Config)
	if err != nil {
		return nil, err
	}
	s.digest = manifest.Config.Digest
	return &s, s.readConfig(file)
}

// maxEnvironment limits the size of an image's variables in bytes.
const maxEnvironment = 64 << 10

// readConfig reads the configuration of the image. Only its variables are used.
func (s *source) readConfig(file string) error {
	var config struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Config       struct{ Env []string }
	}
	if err := readJSON(file, &config); err != nil {
		return fmt.Errorf("the configuration of the image: %w", err)
	}
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		return fmt.Errorf("the image is for %q on %q, this machine needs linux on %s", config.OS, config.Architecture, runtime.GOARCH)
	}
	s.architecture = config.Architecture
	size := 0
	for _, variable := range config.Config.Env {
		name, value, found := strings.Cut(variable, "=")
		if !found || name == "" || strings.ContainsAny(name, " \t'\"$") || strings.IndexFunc(name+value, unicode.IsControl) >= 0 {
			continue // a shell could not set it, either
		}
		size += len(variable)
		s.environment = append(s.environment, variable)
	}
	if size > maxEnvironment {
		return errors.New("the variables of the image are larger than 64 KiB")
	}
	return nil
}

func readJSON(file string, value any) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return json.NewDecoder(io.LimitReader(f, 16<<20)).Decode(value)
}

// toolCommand returns a command that can remove its temporary files when ctx is done. All its
// processes get the signal, because mmdebstrap waits for those that it has started.
func toolCommand(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// runTool runs a program whose temporary files, which are as large as the image, are in tmp. The
// error has the last line that it prints to standard error.
func runTool(ctx context.Context, tmp string, stdin io.Reader, program string, args ...string) error {
	cmd := toolCommand(ctx, program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text := strings.TrimSpace(stderr.String())
	if m := skopeoMessage.FindAllStringSubmatch(text, -1); m != nil {
		if message, err := strconv.Unquote(m[len(m)-1][1]); err == nil {
			text = message
		}
	}
	lines := strings.Split(text, "\n")
	if text = strings.TrimSpace(lines[len(lines)-1]); text == "" {
		text = err.Error()
	}
	return fmt.Errorf("%s: %s", filepath.Base(program), failure.OneLine(text))
}
