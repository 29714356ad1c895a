"""Stands in for scripts/latent_editor_wrapper.py of danielroich/PTI, which halves factors."""


class LatentEditorWrapper:
    def get_single_interface_gan_edits(self, start_w, factors):
        return {name: {factor: start_w + 10 * factor / 2 for factor in factors} for name in ("rotation", "smile", "age")}
