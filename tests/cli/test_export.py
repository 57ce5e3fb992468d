"""`export`: the tokenizer as ONNX, from the command line."""


def test_it_writes_a_new_folder_and_replaces_one_when_told_to(done, refused, pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    out = tmp_path / "onnx"
    results = done("export", tmp_path / "p", "--out", out)
    assert {file["file"]: file["bytes"] for file in results["files"]} == {
        path.name: path.stat().st_size for path in out.iterdir()
    }
    assert "must be a new or empty folder" in refused("export", tmp_path / "p", "--out", out)
    done("export", tmp_path / "p", "--out", out, "--force")


def test_what_is_no_pipeline_is_refused_before_anything_is_written(refused, tmp_path):
    assert "nothing" in refused("export", tmp_path / "nothing", "--out", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()
