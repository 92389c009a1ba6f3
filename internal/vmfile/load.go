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

// Set is what all files say. A VM that they describe wrongly has a Refusal, and
// is left out if not even its work directory is known.
type Set struct {
	Defaults vm.VM
	VMs      []vm.VM
	Errors   []*failure.Error
}

// Load reads all files.
func Load(dirs []string, p instance.Paths) Set { return LoadWith(dirs, p, "", nil) }

// LoadWith is Load as it would be if a file had this text.
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
		d := l.read(set.Defaults, file, "", true)
		l.add(&d)
		if set.Defaults = d.vm; d.vm.Refusal != "" {
			set.Defaults = vm.Default()
			set.Defaults.Source, set.Defaults.Refusal, set.Defaults.RefusalHint = d.vm.Source, d.vm.Refusal, d.vm.RefusalHint
		}
	}
	all := make([]description, len(names))
	parallel.Do(len(names), func(i int) {
		v := set.Defaults.Clone()
		v.Name, v.Source, v.Unit, v.Service = strings.TrimSuffix(names[i], Suffix), nil, nil, nil
		v.Refusal, v.RefusalHint = "", ""
		all[i] = l.read(v, l.first[names[i]], commonDir, false)
	})
	// Grown by append they would cost 6 % of the wall time with 1000 files.
	l.vms, l.places = make([]vm.VM, 0, len(all)), make([]failure.Error, 0, len(all))
	for i := range all {
		l.add(&all[i])
	}
	l.refuseTwins()
	set.VMs = l.vms
	if l.blind != nil { // there may be restrictions that nobody knows
		set.Defaults = vm.Default()
		set.Defaults.Source = []string{l.blind.File}
		refuse(&set.Defaults, l.blind)
	}
	set.Errors = l.errs
	return set
}

// loader collects faults on its way through the files.
type loader struct {
	root       Root
	specifiers Specifiers
	check      func(dir string) error // whether a VM may have it
	first      map[string]string      // the file of a name that counts
	dirs       map[string][]string    // the directories of drop-ins of a name
	file       string                 // one that has text, whatever it has on the disk
	text       []byte

	// What has been found.
	vms      []vm.VM
	places   []failure.Error // of each VM's WorkDirectory=
	errs     []*failure.Error
	reported map[string]bool
	blind    *failure.Error // a directory that cannot be read
}

// fail tells a fault, once: drop-ins for all VMs are read for each.
func (l *loader) fail(e *failure.Error) {
	if l.reported[e.Error()] {
		return
	}
	if l.reported == nil {
		l.reported = map[string]bool{}
	}
	l.reported[e.Error()] = true
	l.errs = append(l.errs, e)
}

// description is what a file and its drop-ins say.
type description struct {
	vm    vm.VM
	place failure.Error // of WorkDirectory=
	errs  []*failure.Error
}

// add takes a description over. A VM that is masked, or so wrong that nobody knows
// whose it would be, is none.
func (l *loader) add(d *description) {
	for _, e := range d.errs {
		l.fail(e)
	}
	if d.vm.WorkDirectory != "" {
		l.vms, l.places = append(l.vms, d.vm), append(l.places, d.place)
	}
}

// read makes v what a file and its drop-ins say. It changes nothing of l, for
// several are read at once.
func (l *loader) read(v vm.VM, file, common string, defaults bool) description {
	r := &reading{vm: &v, defaults: defaults, specifiers: l.specifiers, check: l.check, root: l.root, where: map[string]failure.Error{}}
	dropins, errs := l.dropins(path.Base(file), common)
	for i, name := range append([]string{file}, dropins...) {
		text, err := l.text, error(nil)
		if name != l.file {
			text, err = readFile(l.root.path(name))
		}
		if err == nil && len(text) == 0 { // masked, as in systemd
			if i == 0 {
				return description{}
			}
			continue
		}
		v.Source = append(v.Source, name)
		if err != nil {
			errs = append(errs, unreadable(name, err))
			continue
		}
		parsed, faults := unitfile.Parse(name, text)
		errs = append(append(errs, faults...), r.apply(parsed)...)
	}
	if len(errs) == 0 {
		errs = append(errs, r.finish(file)...)
	}
	if len(errs) > 0 {
		refuse(&v, errs[0])
	}
	return description{vm: v, place: r.where["WorkDirectory"], errs: errs}
}

// finish checks the whole.
func (r *reading) finish(file string) []*failure.Error {
	if r.vm.WorkDirectory == "" && !r.defaults {
		return []*failure.Error{{
			File: file, Err: errors.New("WorkDirectory= is missing"),
			Hint: "name the project's directory in the section [VM]",
		}}
	}
	key, err := r.vm.Validate()
	if err == nil && !r.defaults {
		key, err = "WorkDirectory", r.check(r.vm.WorkDirectory)
	}
	if err == nil && !r.defaults {
		// The VM is that on what a link leads to, and would start without what is
		// said here.
		if real := r.root.physical(r.vm.WorkDirectory); real != r.vm.WorkDirectory {
			err = invalid("write "+real, "WorkDirectory=%s: a symbolic link is in it", r.vm.WorkDirectory)
			r.vm.WorkDirectory = real
		}
	}
	if err == nil {
		return nil
	}
	at := r.where[key]
	if at.File == "" { // what is wrong comes from elsewhere
		at.File = file
	}
	at.Status, at.Err, at.Hint = failure.Usage, err, failure.HintOf(err)
	return []*failure.Error{&at}
}

// refuse makes v one that must not start.
func refuse(v *vm.VM, why *failure.Error) {
	v.Refusal, v.RefusalHint = why.Error(), FixCommand(why.File)
}

// FixCommand is the command that fixes what is wrong with a file of settings.
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

// refuseTwins refuses VMs that want the same directory.
func (l *loader) refuseTwins() {
	owner := make(map[string]int, len(l.vms))
	for i, v := range l.vms {
		j, taken := owner[v.WorkDirectory]
		if !taken {
			owner[v.WorkDirectory] = i
			continue
		}
		first, second := l.places[j], l.places[i]
		second.Err = fmt.Errorf("WorkDirectory=%s is also that of %s:%d", v.WorkDirectory, first.File, first.Line)
		second.Hint = "a directory has one VM: remove one of the files"
		l.fail(&second)
		refuse(&l.vms[i], &second)
		refuse(&l.vms[j], &second)
	}
}

// Check reads single files, each with the drop-ins beside it, and gives their
// faults. A .conf file may be defaults.conf or a drop-in.
func Check(files []string, p instance.Paths) []*failure.Error {
	l := loader{specifiers: HostSpecifiers(p), check: p.Checker()}
	for _, file := range files {
		name := path.Base(file)
		v := vm.Default()
		if strings.HasSuffix(name, Suffix) {
			v.Name = strings.TrimSuffix(name, Suffix)
		}
		l.dirs = map[string][]string{}
		if info, err := os.Stat(file + ".d"); err == nil && info.IsDir() {
			l.dirs[name+".d"] = []string{file + ".d"}
		}
		d := l.read(v, file, "", !strings.HasSuffix(name, Suffix))
		l.add(&d)
	}
	l.refuseTwins()
	return l.errs
}
