//go:build bench

package peers

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// guest is the directory that test/peers/guest builds.
const guest = "/srv/peers"

// peer is one way to run the job.
type peer struct {
	name  string
	dir   string                  // the shared directory
	start func(p *peer) *exec.Cmd // ends with the job
	stop  []string                // the command that then stops the guest, if that does not end with its job
	as    uint32                  // user
	// Without npm ci and go build. Over 9p, npm needs more than the memory of 1 GB.
	noBuilds bool
}

const qemuArguments = "qemu-system-x86_64 -name peer -M %[1]s -m 1024M -smp 1 -nodefaults -no-user-config -no-reboot " +
	"-kernel %[2]s/tree/boot/kernel-%[3]s -initrd %[2]s/tree/boot/initrd-%[3]s -chardev stdio,id=stdio,signal=off -device virtio-rng-pci " +
	"-serial chardev:stdio %[4]s -device i8042 -append '%[5]s' " +
	"-drive id=vda,format=raw,file=%[2]s/disk,if=none,aio=io_uring,discard=unmap,read-only=off,snapshot=on -device virtio-blk-pci,drive=vda -nographic -sandbox on $COUNT "

// hasKVM reports whether the peers can use KVM.
func hasKVM() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	f.Close()
	return err == nil
}

// qemu is QEMU as the runner of microvm.nix calls it, with Debian's kernel and initrd. Without KVM,
// its machine microvm does not boot, as it has no clock to calibrate the TSC; q35 is the other one.
func qemu(kernel, mount string) string {
	machine, cpu := "q35,accel=kvm:tcg,acpi=on,mem-merge=on", "-cpu max"
	if hasKVM() {
		machine, cpu = "microvm,accel=kvm:tcg,acpi=on,mem-merge=on,pcie=on,pic=off,pit=off,rtc=on,usb=off", "-enable-kvm -cpu host,+x2apic,-sgx"
	}
	return fmt.Sprintf(qemuArguments, machine, guest, kernel, cpu, appendOf(mount))
}

// appendOf is the kernel command line of QEMU's guests.
func appendOf(mount string) string {
	return "earlyprintk=ttyS0 console=ttyS0 reboot=t panic=-1 root=/dev/vda rw systemd.mount-extra=work:/work:" + mount
}

func sh(script string) func(p *peer) *exec.Cmd {
	return func(p *peer) *exec.Cmd { return exec.Command("sh", "-c", script, p.name, p.dir) }
}

// ours starts a VM and runs the job in it. Its guest has sleep(1) in place of Claude Code, because the
// guests of the peers do not run Claude Code either.
func ours(options string) func(p *peer) *exec.Cmd {
	return sh("claude-vm-ctl start --memory=1G --cpus=1 " + options + ` ${COUNT:+"--set=VM.QEMUArguments=$COUNT"} "$1" && claude-vm-ctl shell "$1" -- sh job`)
}

func peers() []*peer {
	kvm := strconv.FormatBool(hasKVM())
	disableKVM := ""
	if !hasKVM() {
		disableKVM = "--disable-kvm"
	}
	stop := []string{"claude-vm-ctl", "stop"}
	all := []*peer{
		{name: "claude-vm", start: ours("--set=VM.Resume=no"), stop: stop, as: 1000},
		{name: "claude-vm, resumed", start: ours(""), stop: stop, as: 1000},
		floor(),
		virtiofs("QEMU, virtiofs", ""),
		{name: "QEMU, 9p", noBuilds: true, start: sh(`exec ` + qemu("general", "9p:trans=virtio,version=9p2000.L,msize=512000") +
			`-fsdev local,id=fs0,path="$1",security_model=none,readonly=false -device virtio-9p-pci,fsdev=fs0,mount_tag=work`)},
		{name: "systemd-vmspawn", start: sh(`SYSTEMD_VMSPAWN_QEMU_EXTRA=$COUNT exec systemd-vmspawn --quiet --kvm=` + kvm + ` --vsock=no --tpm=no --cpus=1 --ram=1G --register=no --console=headless ` +
			`--firmware=none --linux=` + guest + `/tree/boot/kernel-cloud --initrd=` + guest + `/tree/boot/initrd-dracut --directory=` + guest + `/tree --bind="$1":/work`)},
		{name: "virtme-ng", noBuilds: true, start: sh(`cd /tmp && exec vng --run ` + guest + `/tree/boot/kernel-general --root ` + guest + `/tree ` + disableKVM +
			` --cpus 1 --memory 1G ${COUNT:+--qemu-opts="$COUNT"} --rwdir=/work="$1" --exec 'cd /work; sh job'`)},
	}
	for options := range strings.SplitSeq(*other, ";") {
		if options != "" {
			all = append(all, virtiofs(options, options))
		}
	}
	return all
}

// virtiofs is QEMU with a share by virtiofsd with these options.
func virtiofs(name, options string) *peer {
	return &peer{name: name, start: sh(`/usr/libexec/virtiofsd --socket-path=/run/peer.sock --shared-dir="$1" --inode-file-handles=prefer ` + options + ` &
		while ! [ -S /run/peer.sock ]; do sleep 0.01; done
		exec ` + qemu("cloud", "virtiofs") + `-numa node,memdev=mem -object memory-backend-memfd,id=mem,size=1024M,share=on ` +
		`-chardev socket,id=fs0,path=/run/peer.sock -device vhost-user-fs-pci,chardev=fs0,tag=work`)}
}

// floor is our kernel with a single program, test/peers/c/init.c, the kernel command line of our guest
// and our processor: a guest with this kernel cannot start faster.
func floor() *peer {
	p := virtiofs("kernel alone", "")
	start := p.start
	p.start = func(p *peer) *exec.Cmd {
		cmd := start(p)
		cmd.Args[2] = `. /usr/local/share/claude-vm/guest/guest.env
			cpu=$(sed -n 's/^Environment=EMULATED_CPU=//p' /usr/local/lib/systemd/user/claude-vm@.service)
			` + strings.NewReplacer(
			guest+"/tree/boot/initrd-cloud", "/usr/local/lib/claude-vm-floor",
			guest+"/tree/boot/kernel-cloud", "/usr/local/share/claude-vm/guest/kernel",
			"-cpu max", `-cpu "$cpu"`,
			"-append '"+appendOf("virtiofs")+"'", `-append "$GUEST_APPEND"`,
		).Replace(cmd.Args[2])
		return cmd
	}
	return p
}

// native runs the job without a VM, with the programs of the peers' guest.
var native = &peer{name: "host", start: sh(`exec unshare --mount sh -ec 'mount --bind "$1" "$2/work"; mount --bind /proc "$2/proc"; mount --bind /dev "$2/dev"
	exec chroot "$2" sh -c "cd /work && sh job"' sh "$1" ` + guest + `/tree`)}
