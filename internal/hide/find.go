package hide

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// MaxFound is the most that Find returns: each is a mount, and so are the directories above it.
const MaxFound = 1000

// maxDepth limits the depth of a search. A guest may have created what is deeper.
const maxDepth = 200

// Find returns what the rules match in a directory, which is open with or without O_PATH: paths
// relative to it, sorted, without those in other ones. A directory that cannot be searched, or that is too deep, is
// among them if something in it could match.
func (r *Rules) Find(ctx context.Context, dir int) ([]string, error) {
	if r.Empty() {
		return nil, nil
	}
	f := finder{ctx: ctx, rules: r}
	if err := f.directory(dir, ".", nil, r.hidden.haveNames(true), true); err != nil {
		return nil, err
	}
	slices.Sort(f.found)
	return f.found, nil
}

type finder struct {
	ctx   context.Context
	rules *Rules
	found []string
}

// skipped are directories in which only patterns with a slash match: a branch can have any name.
var skipped = []string{".git"}

// dependencies are directories in which groups do not match: they have what was downloaded, and
// their tests often have keys.
var dependencies = []string{"node_modules", "site-packages", "vendor"}

// directory searches the directory name in parent. at are the components of its path. always means
// that every directory is searched, for patterns without a slash.
func (f *finder) directory(parent int, name string, at []string, always, inGroups bool) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP { // replaced meanwhile
		return nil
	}
	if err != nil {
		return f.closed(at, err)
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil || len(at) > maxDepth {
		return f.closed(at, err)
	}
	for _, e := range entries {
		components := append(at[:len(at):len(at)], e.Name())
		if f.rules.match(components, always, inGroups) {
			if err := f.add(components); err != nil {
				return err
			}
			continue
		}
		if !e.IsDir() {
			continue
		}
		always, inGroups := always && !slices.Contains(skipped, e.Name()), inGroups && !slices.Contains(dependencies, e.Name())
		always = always && f.rules.hidden.haveNames(inGroups)
		if !always && !f.rules.enters(components) {
			continue
		}
		if err := f.directory(fd, e.Name(), components, always, inGroups); err != nil {
			return err
		}
	}
	return nil
}

// closed adds a directory that cannot be searched.
func (f *finder) closed(at []string, err error) error {
	if len(at) == 0 {
		return fmt.Errorf("search the work directory: %w", err)
	}
	return f.add(at)
}

func (f *finder) add(components []string) error {
	found := path.Join(components...)
	if len(f.found) == MaxFound {
		return fmt.Errorf("more than %d paths match, such as %q", MaxFound, found)
	}
	f.found = append(f.found, found)
	return nil
}
