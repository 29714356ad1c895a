"""Stands in for the modules of settings of danielroich/PTI."""

device = "cpu"
cuda_visible_devices = "0"
input_data_path = embedding_base_dir = checkpoints_dir = ""
input_data_id = "barcelona"
pti_results_keyword = "PTI"
max_images_to_invert = 1
