package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/volume/owner"
)

// Publish makes a volume ready for a pod, however often it is called. What it
// began when it fails is undone by Unpublish.
func (d *Drivers) Publish(ctx context.Context, r Request) (pod.Volume, error) {
	v, err := d.attach(ctx, r)
	if err != nil {
		return pod.Volume{}, err
	}
	done, err := d.turns.Take(ctx, v.key())
	if err != nil {
		return pod.Volume{}, err
	}
	defer done()
	if err := d.checkTaken(v); err != nil {
		return pod.Volume{}, err
	}
	if v.attaches() {
		if v.attached, err = d.attachment(ctx, v); err != nil {
			return pod.Volume{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := d.dial(ctx, v.DriverName)
	if err != nil {
		return pod.Volume{}, err
	}
	defer c.close()
	if err := d.stage(ctx, c, v); err != nil {
		return pod.Volume{}, err
	}
	return d.publish(ctx, c, v)
}

// stage has the driver make the volume ready on the node. For one that is, the
// driver has nothing to do.
func (d *Drivers) stage(ctx context.Context, c *client, v *volume) error {
	if !v.persistent() || !c.stages() {
		return nil
	}
	secrets, err := d.secret(ctx, v.stageSecret, "NodeStageSecretRef")
	if err != nil {
		return err
	}
	s := d.stagedOf(v)
	_, err = load(s.dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(s.path(d), 0o750); err != nil {
		return fmt.Errorf("make directory to stage in: %w", err)
	}
	on := s.record
	if !s.block { // upstream's has no more
		on = record{DriverName: v.DriverName, VolumeHandle: v.VolumeHandle}
	}
	if err := on.save(s.dir); err != nil {
		return fmt.Errorf("save volume data: %w", err)
	}
	if v.attaches() {
		d.use(v.unique(), stagedUser)
	}
	_, err = c.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: v.VolumeHandle, PublishContext: v.attached, StagingTargetPath: s.path(d),
		VolumeCapability: c.capability(v), Secrets: secrets, VolumeContext: v.attributes,
	})
	if err == nil {
		return nil
	}
	if fresh && final(err) {
		d.forgetMount(s.dir, s.path(d))
		if _, err := load(s.dir); errors.Is(err, fs.ErrNotExist) {
			d.release(v.unique(), stagedUser)
		}
	}
	return fmt.Errorf("NodeStageVolume: %w", err)
}

// stagedOf returns the volume as it is staged.
func (d *Drivers) stagedOf(v *volume) staged {
	s := staged{record: v.record, dir: d.stageDir(v.DriverName, v.VolumeHandle), block: v.block}
	if v.block {
		s.dir = filepath.Join(d.pluginDir(), devicesDir, escape(v.SpecVolID), "data")
	}
	return s
}

// publish has the driver bring the volume to the pod.
func (d *Drivers) publish(ctx context.Context, c *client, v *volume) (pod.Volume, error) {
	req := &csi.NodePublishVolumeRequest{
		VolumeId: v.VolumeHandle, PublishContext: v.attached, Readonly: v.readOnly, VolumeCapability: c.capability(v),
	}
	var err error
	if req.Secrets, err = d.secret(ctx, v.publishSec, "NodePublishSecretRef"); err != nil {
		return pod.Volume{}, err
	}
	if err := d.tellOfPod(ctx, v, req); err != nil {
		return pod.Volume{}, err
	}
	if v.persistent() && (c.stages() || v.block) {
		req.StagingTargetPath = d.stagedOf(v).path(d)
	}
	if v.block {
		return d.publishBlock(ctx, c, v, req)
	}
	return d.publishMount(ctx, c, v, req)
}

// publishMount has the driver mount the volume, and gives it the pod's group.
func (d *Drivers) publishMount(ctx context.Context, c *client, v *volume, req *csi.NodePublishVolumeRequest) (pod.Volume, error) {
	takes, err := v.takesGroup()
	if err != nil {
		return pod.Volume{}, err
	}
	dir := d.publishDir(v.Pod.UID, v.SpecVolID)
	_, err = load(dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := v.save(dir); err != nil {
		return pod.Volume{}, fmt.Errorf("save volume data: %w", err)
	}
	req.TargetPath = filepath.Join(dir, mountDir)
	if _, err := c.NodePublishVolume(ctx, req); err != nil {
		// What was mounted before stays: containers look at it.
		if fresh && final(err) {
			d.forgetMount(dir, req.TargetPath)
		}
		return pod.Volume{}, fmt.Errorf("NodePublishVolume: %w", err)
	}
	if takes && !c.setsGroup() {
		err := owner.Apply(ctx, owner.Change{
			Dir: req.TargetPath, Group: *v.fsGroup(), Policy: v.Pod.Spec.SecurityContext.FSGroupChangePolicy,
			Name:     filepath.Join(string(v.Pod.UID), "volumes", podPlugin, v.SpecVolID, mountDir),
			Progress: func(message string) { d.o.Event(v.Pod, "Warning", "VolumePermissionChangeInProgress", message) },
		})
		if err != nil {
			return pod.Volume{}, fmt.Errorf("applyFSGroup failed for vol %s: %w", v.VolumeHandle, err)
		}
	}
	return pod.Volume{Path: req.TargetPath, ReadOnly: v.readOnly}, nil
}

// Republish publishes a volume again that a pod has, if the driver wants that
// now and then: tokens in it expire, for one. What is mounted stays, whatever
// goes wrong.
func (d *Drivers) Republish(ctx context.Context, r Request) error {
	v, err := d.volume(ctx, r)
	if err != nil || v.driver == nil || !ptr.Deref(v.driver.Spec.RequiresRepublish, false) {
		return err
	}
	if _, err := load(d.publishDir(r.Pod.UID, v.SpecVolID)); err != nil {
		return nil //nolint:nilerr // it is gone
	}
	_, err = d.Publish(ctx, r)
	return err
}

// forgetMount removes the record in dir, and path, of a volume that was not
// mounted there. If it was after all, that is for Unpublish and Reap to find.
func (d *Drivers) forgetMount(dir, path string) {
	if err := os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) {
		_ = forget(dir)
	}
}

// publishBlock has the driver bring the device, to which a link in the pod's
// directory leads. The link comes first: it is what is gone by when the pod ends.
func (d *Drivers) publishBlock(ctx context.Context, c *client, v *volume, req *csi.NodePublishVolumeRequest) (pod.Volume, error) {
	if err := v.save(d.stagedOf(v).dir); err != nil {
		return pod.Volume{}, fmt.Errorf("save volume data: %w", err)
	}
	req.TargetPath = d.blockPath(v.SpecVolID, v.Pod.UID)
	link := d.blockLink(v.Pod.UID, v.SpecVolID)
	for _, dir := range []string{filepath.Dir(req.TargetPath), filepath.Dir(link)} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return pod.Volume{}, fmt.Errorf("make directory of device: %w", err)
		}
	}
	if err := os.Symlink(req.TargetPath, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return pod.Volume{}, fmt.Errorf("link device: %w", err)
	}
	if _, err := c.NodePublishVolume(ctx, req); err != nil {
		return pod.Volume{}, fmt.Errorf("NodePublishVolume: %w", err)
	}
	return pod.Volume{Device: link, ReadOnly: v.readOnly}, nil
}
