package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/claudecode"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/gitdir"
	"github.com/t0mpr1c3/claude-microvm/internal/hide"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/protect"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

// plan is what an instance shares, and how.
type plan struct {
	dir            string // the work directory
	settings       vm.VM
	shares         []instance.Share // the work directory, then those of Mount=, then others
	gitDirectories []string
	claudeVersion  string // of ShareClaudeCode
	warnings       []string
}

// newPlan returns the plan of the instance on dir.
func newPlan(ctx context.Context, paths instance.Paths, id, dir string, settings vm.VM) (*plan, error) {
	p := &plan{dir: dir, settings: settings, shares: []instance.Share{{Name: contract.ShareWork, Path: dir}}}
	if err := p.addMounts(paths); err != nil {
		return nil, err
	}
	if settings.Home != vm.HomeEphemeral {
		home, err := paths.HomeDirectory(id, settings.Home)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(home, 0o700); err != nil {
			return nil, err
		}
		// For StateDirectory=claude-vm, as it was once, systemd created a link to ~/.config/claude-vm.
		if home, err = filepath.EvalSymlinks(home); err != nil {
			return nil, err
		}
		p.shares = append(p.shares, instance.Share{Name: contract.ShareHome, Path: home})
	}
	repository, err := gitdir.Find(dir)
	if err != nil {
		p.warn("", "git does not work in the VM, and %s/.git %v", dir, err)
	}
	p.gitDirectories = gitdir.Nested(dir)
	p.addRepository(paths, repository)
	p.checkDirectory()
	if err := p.addUserConfig(paths, id); err != nil {
		return nil, err
	}
	if err := p.addClaudeCode(paths); err != nil {
		return nil, err
	}
	return p, p.protect(ctx, repository)
}

// addClaudeCode adds the share with the version of Claude Code that the user has selected, if there is one.
func (p *plan) addClaudeCode(paths instance.Paths) error {
	selected, err := claudecode.Selected(paths.ClaudeCodeDirectory())
	if err != nil {
		return failure.New(failure.HostUnable, "claude-vm-ctl guest update", "the selected version of Claude Code: %w", err)
	}
	if selected == nil {
		return nil
	}
	path, err := filepath.EvalSymlinks(selected.Path)
	if err != nil {
		return err
	}
	p.claudeVersion = selected.Version
	p.shares = append(p.shares, instance.Share{Name: contract.ShareClaudeCode, Path: path})
	return nil
}

// protect finds out what to protect in the shares. It opens each of them once, without following
// symbolic links: another VM may be able to replace what is at its path.
func (p *plan) protect(ctx context.Context, r gitdir.Repository) error {
	var roots []protect.Root
	defer func() {
		for _, root := range roots {
			unix.Close(root.FD)
		}
	}()
	for i := range p.shares {
		s := &p.shares[i]
		fd, err := protect.Open(s.Path)
		if err != nil {
			return fmt.Errorf("share %s: %w", s.Path, err)
		}
		roots = append(roots, protect.Root{Path: s.Path, FD: fd})
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("share %s: %w", s.Path, err)
		}
		s.Device, s.Inode = st.Dev, st.Ino
	}
	hidden, err := p.hidden(ctx, roots[0])
	if err != nil {
		return err
	}
	found, err := protect.Look(roots, append(p.wishes(r), hidden...))
	if err != nil {
		return fmt.Errorf("protect or hide %w", err)
	}
	for i := range p.shares {
		p.shares[i].Mounts = found.Mounts[i]
	}
	for _, text := range found.Warnings {
		p.warn("", "%s", text)
	}
	return nil
}

// hidden returns what the patterns of Hide= match in the work directory.
func (p *plan) hidden(ctx context.Context, work protect.Root) ([]protect.Wish, error) {
	found, err := hide.Compile(p.settings.Hide).Find(ctx, work.FD)
	if err != nil {
		return nil, fmt.Errorf("Hide=%s: %w", unitfile.Join(p.settings.Hide), err)
	}
	var all []protect.Wish
	for _, path := range found {
		all = append(all, protect.Wish{Path: filepath.Join(work.Path, path), Mode: protect.Hidden})
	}
	return all, nil
}

// warn adds a warning, with the command that fixes it.
func (p *plan) warn(fix, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if fix != "" {
		text += "; fix: " + fix
	}
	p.warnings = append(p.warnings, failure.OneLine(text))
}

// addMounts adds the shares for Mount=.
func (p *plan) addMounts(paths instance.Paths) error {
	for i, m := range p.settings.Mounts {
		source, err := mountSource(paths, m.Host)
		if err != nil {
			return fmt.Errorf("Mount=%s: %w", m.Host, err)
		}
		if instance.Overlap(source, p.dir) {
			return fmt.Errorf("Mount=%s: overlaps the work directory and would bypass its ReadOnly= and Hide=", source)
		}
		p.shares = append(p.shares, instance.Share{Name: m.ShareName(i), Path: source})
	}
	return nil
}

// addRepository adds a share for the git directory if it is not in the work directory.
func (p *plan) addRepository(paths instance.Paths, r gitdir.Repository) {
	if r.Common == "" || slices.Contains(p.settings.Hide, ".git") {
		return
	}
	mount := func(path, suffix string) string {
		return failure.Command("claude-vm-ctl", "start", "--mount", path+":"+path+suffix, p.dir)
	}
	if !p.sees(r.Common) {
		switch err := paths.Check(r.Common); {
		case err != nil:
			p.warn("", "git does not work in the VM: %v", err)
			return
		case !r.Confirmed: // the guest of an earlier run could have chosen it
			p.warn(mount(r.Common, ""), "git does not work in the VM: %s/.git refers to %s, which is not shared because it does not refer back, or has other files", p.dir, r.Common)
			return
		}
		p.shares = append(p.shares, instance.Share{Name: contract.ShareGit, Path: r.Common})
		p.gitDirectories = append(p.gitDirectories, gitdir.Nested(r.Common)...)
	}
	// Also without linked worktrees: the first one may be added while the VM runs.
	p.gitDirectories = append(p.gitDirectories, r.Common)
	slices.Sort(p.gitDirectories)
	p.gitDirectories = slices.Compact(p.gitDirectories)
	for _, objects := range gitdir.Alternates(r.Common) {
		if !p.sees(objects) && paths.Check(objects) == nil {
			p.warn(mount(objects, ":ro"), "git does not work in the VM: %s uses objects in %s, which is not shared", r.Common, objects)
		}
	}
}

// sees reports whether the guest has a path of the host at the same path.
func (p *plan) sees(path string) bool {
	for i, s := range p.shares {
		isMount := 1 <= i && i <= len(p.settings.Mounts)
		samePath := s.Name == contract.ShareWork || s.Name == contract.ShareGit || isMount && p.settings.Mounts[i-1].Guest == s.Path
		if samePath && instance.Contains(s.Path, path) {
			return true
		}
	}
	return false
}

// checkDirectory warns about a work directory that cannot be written. Everything is read-only
// for the setup unit, but this is the last that the kernel checks. claude-vm-ctl warns about it.
func (p *plan) checkDirectory() {
	if err := unix.Access(p.dir, unix.W_OK); err != nil && err != unix.EROFS {
		p.warn("", "you cannot create files in %s, and neither can the VM: %v", p.dir, err)
	}
	const little = 64 << 20 // bytes
	var fs unix.Statfs_t
	if err := unix.Statfs(p.dir, &fs); err == nil && fs.Bavail*uint64(fs.Bsize) < little && fs.Blocks > 0 {
		p.warn("", "only %s are free on the file system of %s", size.Format(fs.Bavail*uint64(fs.Bsize)), p.dir)
	}
}

// wishes returns what is to be protected and hidden. Paths in .git also apply to the git
// directory if it is elsewhere. Of linked worktrees, the files are protected too that refer to
// the worktree and to the common git directory.
func (p *plan) wishes(r gitdir.Repository) []protect.Wish {
	var all []protect.Wish
	add := func(mode protect.Mode, elements ...string) {
		all = append(all, protect.Wish{Path: filepath.Join(elements...), Mode: mode})
	}
	for _, path := range p.settings.Hide {
		if hide.IsPattern(path) {
			continue
		}
		add(protect.Hidden, p.dir, path)
		if below, found := strings.CutPrefix(path, ".git/"); found && r.Common != "" {
			add(protect.Hidden, r.Common, below)
			add(protect.Hidden, r.Own, below)
		}
	}
	inGit := false
	for _, path := range p.settings.ReadOnly {
		add(protect.ReadOnly, p.dir, path)
		below, found := strings.CutPrefix(path+"/", ".git/")
		if r.Common == "" || !found && path != "." {
			continue
		}
		inGit = true
		add(protect.ReadOnly, r.Common, below)
		add(protect.ReadOnly, r.Own, below)
	}
	if inGit {
		for _, dir := range append(gitdir.Linked(r.Common, p.dir), r.Own) {
			for _, name := range []string{"commondir", "gitdir", "config.worktree"} {
				if dir != r.Common {
					add(protect.ReadOnly, dir, name)
				}
			}
		}
		for _, dir := range gitdir.Modules(r.Common) {
			add(protect.ReadOnly, dir, "hooks")
			add(protect.ReadOnly, dir, "config")
		}
	}
	// A work directory in the git directory is shared only with its protection.
	if r.Common != p.dir && r.Common != "" && instance.Contains(r.Common, p.dir) {
		add(protect.Hidden, p.dir)
	}
	return all
}

// mountSource returns the path of a Mount= on the host without symbolic links, if it may be
// shared.
func mountSource(paths instance.Paths, path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("not an absolute path")
	}
	found, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", withoutPath(err)
	}
	info, err := os.Stat(found)
	if err != nil {
		return "", withoutPath(err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return "", errors.New("neither a directory nor a file")
	}
	return found, paths.Check(found)
}

// withoutPath removes the path from an error, for messages that already contain it.
func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
