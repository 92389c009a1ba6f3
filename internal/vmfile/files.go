package vmfile

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"golang.org/x/sys/unix"
)

// SearchPath returns the directories of .vm files, in order of decreasing precedence.
// $CLAUDE_VM_UNIT_DIRS, which is for tests, replaces them.
func SearchPath(p instance.Paths) []string {
	if dirs := os.Getenv("CLAUDE_VM_UNIT_DIRS"); dirs != "" {
		return strings.Split(dirs, ":")
	}
	dirs := []string{p.Runtime + "/claude-vm", p.ConfigFiles(), "/etc/claude-vm/user", "/usr/share/claude-vm/user"}
	if p.Runtime == "" {
		return dirs[1:]
	}
	return dirs
}

// Find returns the path of the file with this name that takes precedence; empty if there
// is none.
func Find(dirs []string, name string) string {
	l := loader{dirs: map[string][]string{}}
	l.scan(dirs)
	return l.first[name]
}

// scan fills l.first and l.dirs. It returns the names of all .vm files, sorted.
func (l *loader) scan(dirs []string) []string {
	l.first = map[string]string{}
	var names []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(l.root.path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			if _, linkErr := os.Lstat(l.root.path(dir)); linkErr != nil { // but a dangling link is an error
				err = nil
			}
		}
		if err != nil {
			l.unreadableDir = unreadable(dir, err)
			l.fail(l.unreadableDir)
			continue
		}
		var files []string
		for _, e := range entries {
			// The runtime directory also has directories of instances, whose ids may end in .vm.
			if !e.IsDir() || strings.HasSuffix(e.Name(), ".d") {
				files = append(files, e.Name())
			}
		}
		if path.Dir(l.file) == dir && !slices.Contains(files, path.Base(l.file)) {
			files = append(files, path.Base(l.file))
		}
		for _, name := range files {
			full := path.Join(dir, name)
			if err := checkName(full); err != nil {
				l.fail(err)
				continue
			}
			isVM := strings.HasSuffix(name, Suffix) && name[0] != '.'
			switch {
			case strings.HasSuffix(name, ".d"):
				l.dirs[name] = append(l.dirs[name], full)
			case (isVM || name == DefaultsFile) && l.first[name] == "":
				l.first[name] = full
				if isVM {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// checkName returns an error if a path cannot be written to a unit file.
func checkName(full string) *failure.Error {
	if utf8.ValidString(full) && strings.IndexFunc(full, unicode.IsControl) < 0 {
		return nil
	}
	return &failure.Error{File: strconv.Quote(full), Err: errors.New("file name contains a control character or is not valid UTF-8")}
}

// dropins returns the paths of a file's drop-ins, sorted by file name: those in NAME.d and,
// unless common is empty, in the directory common of all .vm files. If several have the same
// name, only one is returned: NAME.d takes precedence over common, and then the first
// directory in the search path. An unreadable directory is an error of the VM, because a
// drop-in in it might restrict the VM.
func (l *loader) dropins(name, common string) ([]string, []*failure.Error) {
	dirs := slices.Concat(l.dirs[name+".d"], l.dirs[common])
	if len(dirs) == 0 {
		return nil, nil
	}
	var errs []*failure.Error
	byName := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(l.root.path(dir))
		if err != nil {
			errs = append(errs, unreadable(dir, err))
			continue
		}
		for _, e := range entries {
			n := e.Name()
			if !strings.HasSuffix(n, ".conf") || n[0] == '.' || byName[n] != "" {
				continue
			}
			if err := checkName(path.Join(dir, n)); err != nil {
				errs = append(errs, err)
				continue
			}
			byName[n] = path.Join(dir, n)
		}
	}
	var files []string
	for _, n := range slices.Sorted(maps.Keys(byName)) {
		files = append(files, byName[n])
	}
	return files, errs
}

// readFile reads a regular file. It rejects other types, because opening or reading a
// FIFO could block. /dev/null, or a link to it, reads as empty. It calls the kernel
// directly: package os makes more system calls, which cost 8 % of user time with 1000
// files.
func readFile(name string) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3): // null(4)
		return nil, nil
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("not a regular file")
	}
	// The extra byte makes the last read return 0 without growing the slice first.
	text := make([]byte, 0, min(st.Size, unitfile.MaxSize)+1)
	for len(text) <= unitfile.MaxSize {
		text = slices.Grow(text, 1)
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if err != nil || n == 0 {
			return text, err
		}
		text = text[:len(text)+n]
	}
	return text, nil
}

// unreadable returns the error for a file or directory that cannot be read. The path is in
// File, so it is removed from err.
func unreadable(name string, err error) *failure.Error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &failure.Error{File: name, Err: err}
}
