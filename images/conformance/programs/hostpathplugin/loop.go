package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// attachLoop returns the device of the volume's blocks, which it makes if there
// is none.
func (v *volume) attachLoop(path string) (string, error) {
	if v.loop != "" {
		return v.loop, nil
	}
	data, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer data.Close() //nolint:errcheck // the device has it open
	for {
		device, err := configureFree(data)
		if errors.Is(err, unix.EBUSY) { // another was quicker
			continue
		}
		if err != nil {
			return "", fmt.Errorf("make a loop device: %w", err)
		}
		v.loop = device
		return device, nil
	}
}

// configureFree puts the file behind a loop device that is free now.
func configureFree(data *os.File) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close() //nolint:errcheck // it was only asked
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("/dev/loop%d", n)
	if err := unix.Mknod(name, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", err
	}
	device, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer device.Close() //nolint:errcheck // it stays configured
	return name, unix.IoctlLoopConfigure(int(device.Fd()), &unix.LoopConfig{Fd: uint32(data.Fd())})
}

// onLoop asks the device of the volume's blocks, if there is one.
func (v *volume) onLoop(request uint) error {
	if v.loop == "" {
		return nil
	}
	device, err := os.OpenFile(v.loop, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer device.Close() //nolint:errcheck // it was only asked
	return unix.IoctlSetInt(int(device.Fd()), request, 0)
}

// resized tells the device that the file behind it has another size.
func (v *volume) resized() error { return v.onLoop(unix.LOOP_SET_CAPACITY) }

// flush writes what the device still has of the volume into its file.
func (v *volume) flush() error { return v.onLoop(unix.BLKFLSBUF) }

// release frees the device.
func (v *volume) release() error {
	if err := v.onLoop(unix.LOOP_CLR_FD); err != nil {
		return fmt.Errorf("free %s: %w", v.loop, err)
	}
	v.loop = ""
	return nil
}

// releaseUnused frees the device once no pod has it.
func (v *volume) releaseUnused() error {
	if len(v.published) > 0 {
		return nil
	}
	return v.release()
}
