"""Fine-tuned encoders and decoders, and decoders that are only asked (the paper's Fig. 8); extra `finetune`."""
