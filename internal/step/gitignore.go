package step

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/protect"
	"golang.org/x/sys/unix"
)

// maxIgnore is more than such a file has.
const maxIgnore = 64 << 10

// gitIgnore returns the content of core.excludesFile; empty if it cannot be used. value is its value
// in the configuration.
func gitIgnore(paths instance.Paths, value string) string {
	path := value
	if rest, found := strings.CutPrefix(value, "~/"); found {
		path = filepath.Join(paths.Home, rest)
	}
	if value == "" { // the default; see gitignore(5)
		path = filepath.Join(paths.Config, "git/ignore")
	}
	if !filepath.IsAbs(path) {
		return ""
	}
	f, err := openPublic(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxIgnore+1))
	if err != nil || len(text) > maxIgnore {
		return ""
	}
	return string(text)
}

// openPublic opens a file for the guest. The guest of another VM may have made a link in place of it,
// or of a directory, to a secret. So only those links are followed that lead to a file of root that
// everybody can read, such as those of Home Manager.
func openPublic(path string) (*os.File, error) {
	fd, err := protect.Open(path)
	linked := err == unix.ELOOP || err == unix.ENOTDIR // of the file, of a directory
	if linked {
		fd, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || linked && (stat.Uid != 0 || stat.Mode&0o004 == 0) {
		return nil, os.ErrPermission
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}
