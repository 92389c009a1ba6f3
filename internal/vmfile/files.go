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

// This file finds and reads; what the text means is not its matter.

// SearchPath lists the directories, the most important first.
// $CLAUDE_VM_UNIT_DIRS, for tests, replaces them.
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

// Find gives the file of this name that counts; empty if there is none.
func Find(dirs []string, name string) string {
	l := loader{dirs: map[string][]string{}}
	l.scan(dirs)
	return l.first[name]
}

// scan finds the .vm files, sorted, and fills first and dirs.
func (l *loader) scan(dirs []string) []string {
	l.first = map[string]string{}
	var names []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(l.root.path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			if _, linkErr := os.Lstat(l.root.path(dir)); linkErr != nil { // else a link to what is not there
				err = nil
			}
		}
		if err != nil {
			l.blind = unreadable(dir, err)
			l.fail(l.blind)
			continue
		}
		var files []string
		for _, e := range entries {
			// In the runtime directory those of instances may have such a name.
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

// checkName refuses what cannot be written into a unit.
func checkName(full string) *failure.Error {
	if utf8.ValidString(full) && strings.IndexFunc(full, unicode.IsControl) < 0 {
		return nil
	}
	return &failure.Error{File: strconv.Quote(full), Err: errors.New("a file's name that is no text")}
}

// dropins lists a file's drop-ins in the order in which they apply: by name,
// whatever directory they are in. Of equal names the one for this file alone
// counts, and then that of the more important directory. What cannot be read might
// restrict the VM: it is a fault of the file.
func (l *loader) dropins(name, common string) ([]string, []*failure.Error) {
	var errs []*failure.Error
	byName := map[string]string{}
	for _, dir := range slices.Concat(l.dirs[name+".d"], l.dirs[common]) {
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

// readFile reads a file that must be a regular one: a pipe would be waited for.
// What is or leads to /dev/null reads as empty. Package os makes more system calls:
// 8 % more user time with 1000 files.
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
		return nil, errors.New("not a file")
	}
	// One more than there should be, to find out that there is no more.
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

func unreadable(name string, err error) *failure.Error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &failure.Error{File: name, Err: err}
}
