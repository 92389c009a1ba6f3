package vmfile

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/parallel"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// Names of the files.
const (
	Suffix       = ".vm"
	DefaultsFile = "defaults.conf"
	commonDir    = "vm.d" // drop-ins of all .vm files
)

// Set is the result of reading all files. If there is an error in the files of a VM, the VM
// has a Refusal; it is missing from VMs if the files do not define its work directory.
type Set struct {
	Defaults vm.VM
	VMs      []vm.VM
	Errors   []*failure.Error
}

// Load reads all files in dirs. p has the directories of the user who owns the VMs.
func Load(dirs []string, p instance.Paths) Set { return LoadWith(dirs, p, "", nil) }

// LoadWith does the same as Load, but uses text as the content of file, which need not
// exist. So an edited file can be checked before it is saved.
func LoadWith(dirs []string, p instance.Paths, file string, text []byte) Set {
	l := loader{specifiers: HostSpecifiers(p), check: p.Checker(), file: file, text: text}
	return l.load(dirs)
}

func (l *loader) load(dirs []string) Set {
	l.dirs = map[string][]string{}
	names := l.scan(dirs)
	var set Set
	set.Defaults = vm.Default()
	if file, ok := l.first[DefaultsFile]; ok {
		d := set.Defaults
		if l.fail(l.read(&d, file, "", true).errs...); len(d.Source) > 0 { // not masked
			set.Defaults = d
		}
		if d.Refusal != "" { // VMs must not inherit half of the file
			set.Defaults = vm.Default()
			set.Defaults.Source, set.Defaults.Refusal, set.Defaults.RefusalHint = d.Source, d.Refusal, d.RefusalHint
		}
	}
	// The VMs are large, so they are read into the slice and not copied to it.
	all, origins := make([]vm.VM, len(names)), make([]origin, len(names))
	parallel.Do(len(names), func(i int) {
		v := &all[i]
		*v = set.Defaults.Clone()
		v.Name, v.Source, v.Unit, v.Service = strings.TrimSuffix(names[i], Suffix), nil, nil, nil
		v.Refusal, v.RefusalHint = "", ""
		origins[i] = l.read(v, l.first[names[i]], commonDir, false)
	})
	l.add(all, origins)
	set.VMs = l.vms
	if l.unreadableDir != nil { // it may have files that restrict any VM
		set.Defaults = vm.Default()
		set.Defaults.Source = []string{l.unreadableDir.File}
		refuse(&set.Defaults, l.unreadableDir)
	}
	set.Errors = l.errs
	return set
}

// loader reads files and collects VMs and errors.
type loader struct {
	root       Root
	specifiers Specifiers
	check      func(dir string) error // returns an error if dir must not be shared
	first      map[string]string      // by name, the path of the file that takes precedence
	dirs       map[string][]string    // by name (web.vm.d), the directories of drop-ins
	file       string                 // a file whose content is replaced by text
	text       []byte

	// The results.
	vms           []vm.VM
	origins       []origin // of each VM
	errs          []*failure.Error
	reported      map[string]bool
	unreadableDir *failure.Error // of a directory in the search path
}

// fail adds errors, but each only once: the drop-ins in vm.d are read again for each VM.
func (l *loader) fail(errs ...*failure.Error) {
	for _, e := range errs {
		if l.reported[e.Error()] {
			continue
		}
		if l.reported == nil {
			l.reported = map[string]bool{}
		}
		l.reported[e.Error()] = true
		l.errs = append(l.errs, e)
	}
}

// origin is where a VM comes from: its WorkDirectory=, and the errors in its files.
type origin struct {
	place place
	errs  []*failure.Error
}

// add adds VMs and the errors in their files. There is no VM if the file is masked or has no
// valid work directory.
func (l *loader) add(vms []vm.VM, origins []origin) {
	for i := range vms {
		l.fail(origins[i].errs...)
		if vms[i].WorkDirectory == "" {
			continue
		}
		if n := len(l.vms); n < i { // some are missing
			vms[n], origins[n] = vms[i], origins[i]
		}
		l.vms, l.origins = vms[:len(l.vms)+1], origins[:len(l.vms)+1]
	}
	l.refuseDuplicates()
}

// read applies a file and its drop-ins to v. It does not change l, because several files
// are read in parallel.
func (l *loader) read(v *vm.VM, file, common string, defaults bool) origin {
	r := &applier{vm: v, defaults: defaults, specifiers: l.specifiers, check: l.check, root: l.root}
	dropins, errs := l.dropins(path.Base(file), common)
	for i, name := range append([]string{file}, dropins...) {
		text, err := l.text, error(nil)
		if name != l.file {
			text, err = readFile(l.root.path(name))
		}
		if err == nil && len(text) == 0 { // an empty file is masked, as in systemd
			if i == 0 {
				*v = vm.VM{}
				return origin{}
			}
			continue
		}
		v.Source = append(v.Source, name)
		if err != nil {
			errs = append(errs, unreadable(name, err))
			continue
		}
		parsed, parseErrs := unitfile.Parse(name, text)
		errs = append(append(errs, parseErrs...), r.apply(parsed)...)
	}
	if len(errs) == 0 {
		errs = append(errs, r.finish(file)...)
	}
	if len(errs) > 0 {
		refuse(v, errs[0])
	}
	return origin{place: r.where("WorkDirectory"), errs: errs}
}

// finish checks the VM after all files are applied.
func (r *applier) finish(file string) []*failure.Error {
	if r.vm.WorkDirectory == "" && !r.defaults {
		return []*failure.Error{{
			File: file, Err: errors.New("WorkDirectory= is missing"),
			Hint: "set it to the project's directory in section [VM]",
		}}
	}
	key, err := r.vm.Validate()
	if err == nil && !r.defaults {
		key, err = "WorkDirectory", r.check(r.vm.WorkDirectory)
	}
	if err == nil && !r.defaults {
		// The id of an instance is made from the path without symbolic links. With another
		// path, this file would apply to an id that no instance has.
		if real := r.root.physical(r.vm.WorkDirectory); real != r.vm.WorkDirectory {
			err = invalid("write "+real, "WorkDirectory=%s: path contains a symbolic link", r.vm.WorkDirectory)
			r.vm.WorkDirectory = real
		}
	}
	if err == nil {
		return nil
	}
	at := r.where(key)
	if at.file == "" { // the setting is from defaults.conf
		at.file = file
	}
	return []*failure.Error{{File: at.file, Line: at.line, Status: failure.Usage, Err: err, Hint: failure.HintOf(err)}}
}

// place is a line of a file.
type place struct {
	file string
	line int
}

// where returns the last assignment of a key. The file is empty if there is none.
func (r *applier) where(key string) (last place) {
	for _, f := range r.files {
		for _, e := range f.Entries {
			if e.Key == key && findKey(e.Section, key) != nil {
				last = place{f.Name, e.Line}
			}
		}
	}
	return last
}

// refuse makes v a VM that must not start.
func refuse(v *vm.VM, why *failure.Error) {
	v.Refusal, v.RefusalHint = why.Error(), FixCommand(why.File)
}

// FixCommand returns the command with which the user can fix an error in file: an editor
// for a .vm file, defaults.conf or a drop-in, and ls for anything else, such as a directory
// without read permission.
func FixCommand(file string) string {
	switch name := path.Base(file); {
	case name == DefaultsFile:
		return "claude-vm-ctl edit --defaults"
	case path.Ext(name) == Suffix:
		return failure.Command("claude-vm-ctl", "edit", strings.TrimSuffix(name, Suffix))
	case path.Ext(name) == ".conf": // a drop-in
		return "${EDITOR:-vi} " + failure.Command(file)
	}
	return failure.Command("ls", "-ld", file)
}

// refuseDuplicates refuses VMs that have the same work directory.
func (l *loader) refuseDuplicates() {
	owner := make(map[string]int, len(l.vms))
	for i := range l.vms {
		v := &l.vms[i]
		j, taken := owner[v.WorkDirectory]
		if !taken {
			owner[v.WorkDirectory] = i
			continue
		}
		first, second := l.origins[j].place, l.origins[i].place
		err := &failure.Error{
			File: second.file, Line: second.line,
			Err:  fmt.Errorf("WorkDirectory=%s is already used in %s:%d", v.WorkDirectory, first.file, first.line),
			Hint: "a directory can have only one VM: remove one of the files",
		}
		l.fail(err)
		refuse(v, err)
		refuse(&l.vms[j], err)
	}
}

// Check reads files, each with the drop-ins in FILE.d, and returns their errors. Files
// that do not end in .vm are checked like defaults.conf.
func Check(files []string, p instance.Paths) []*failure.Error {
	l := loader{specifiers: HostSpecifiers(p), check: p.Checker()}
	vms, origins := make([]vm.VM, len(files)), make([]origin, len(files))
	for i, file := range files {
		name := path.Base(file)
		vms[i] = vm.Default()
		if strings.HasSuffix(name, Suffix) {
			vms[i].Name = strings.TrimSuffix(name, Suffix)
		}
		l.dirs = map[string][]string{}
		if info, err := os.Stat(file + ".d"); err == nil && info.IsDir() {
			l.dirs[name+".d"] = []string{file + ".d"}
		}
		origins[i] = l.read(&vms[i], file, "", !strings.HasSuffix(name, Suffix))
	}
	l.add(vms, origins)
	return l.errs
}
